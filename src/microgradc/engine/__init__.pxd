"""The C layout of a Value under the name of the package: `from microgradc.engine cimport Value`."""

from microgradc.engine.value cimport *
