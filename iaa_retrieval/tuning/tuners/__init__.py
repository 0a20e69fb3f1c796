"""Our tuners inside PEFT: one for IAA, Houlsby, MAM and prefix adapters (`model`), one for BitFit (`bitfit`)."""

# Importing PEFT registers the tuners, which imports the modules of this package; it must not start halfway
# through one of them.
import peft  # noqa: F401
