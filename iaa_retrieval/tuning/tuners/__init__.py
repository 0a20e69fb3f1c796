"""Our tuners inside PEFT: ``model`` for IAA, Houlsby, MAM and prefix adapters, ``bitfit`` for BitFit."""

# Importing PEFT registers the tuners, which imports the modules of this package; it must not start halfway
# through one of them.
import peft  # noqa: F401
