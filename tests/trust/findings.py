"""What a part was given, time and a seed; and what it hands back."""

import time
from dataclasses import asdict, dataclass, field


@dataclass
class Finding:
    """Something that is not as promised, and how to see it again."""

    what: str
    seed: int
    program: str  # the smallest program, or command, that repeats it


@dataclass
class Findings:
    """What a part did: how many cases, of which kinds, and what it found."""

    cases: int = 0
    counts: dict = field(default_factory=dict)  # anything else that is worth a figure
    found: list = field(default_factory=list)
    missing: str = ""  # why the part cannot run here

    def add(self, what, seed, program=""):
        self.found.append(Finding(str(what), seed, program))

    def count(self, name, by=1):
        self.counts[name] = self.counts.get(name, 0) + by

    def largest(self, name, number):
        self.counts[name] = max(self.counts.get(name, 0.0), float(number))

    def as_dict(self):
        return asdict(self)

    @classmethod
    def of_dict(cls, entries):
        return cls(**{**entries, "found": [Finding(**finding) for finding in entries["found"]]})


class Budget:
    """Seconds, and a seed from which all others come."""

    MOST_FOUND = 20  # of one part; more would say the same again

    def __init__(self, seconds, seed=0):
        self.seed, self.seconds, self.ends = seed, seconds, time.monotonic() + seconds

    def left(self):
        return self.ends - time.monotonic()

    def rounds(self, findings):
        """Yield seeds, at least one, until the time is over or enough was found."""
        seed = self.seed
        while True:
            yield seed
            seed += 1
            if self.left() <= 0 or len(findings.found) >= self.MOST_FOUND:
                return
