"""Numbers at which operations are tried: where they bend, overflow, or meet what is not a number."""

import itertools
import math

INF, NAN = math.inf, math.nan
CORNERS = [0.0, 1.0, 0.5, 2.0, 3.0, 7.25, 20.0, 1000.0, 1e-300, 1e300, INF]
CORNERS = [sign * x for x in CORNERS for sign in (1, -1)] + [0.1, 5e-324, NAN]
PAIRS = list(itertools.product(CORNERS, repeat=2))
TRIPLES = list(itertools.product([0.0, -0.0, 1.0, -1.0, 0.25, 2.5, -3.0, INF, -INF, NAN], repeat=3))
