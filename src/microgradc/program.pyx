"""Programs: a graph recorded once, replayed over many examples at once."""

include "lanes.pxi"
