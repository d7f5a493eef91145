# The order of examples in an epoch: what random.shuffle makes of them, without the GIL. Included by program.pyx.

import random

cdef enum:
    TWISTER_SIZE = 624      # Matsumoto and Nishimura, "Mersenne Twister", 1998, as in CPython's _randommodule.c
    TWISTER_MIDDLE = 397


cdef uint32_t twister_next(uint32_t *state, Py_ssize_t *place) noexcept nogil:
    """The next 32 bits of the generator."""
    cdef Py_ssize_t i
    cdef uint32_t y
    if place[0] >= TWISTER_SIZE:
        for i in range(TWISTER_SIZE):
            y = (state[i] & 0x80000000u) | (state[(i + 1) % TWISTER_SIZE] & 0x7FFFFFFFu)
            state[i] = state[(i + TWISTER_MIDDLE) % TWISTER_SIZE] ^ (y >> 1) ^ (0x9908B0DFu if y & 1 else 0u)
        place[0] = 0
    y = state[place[0]]
    place[0] += 1
    y ^= y >> 11
    y ^= (y << 7) & 0x9D2C5680u
    y ^= (y << 15) & 0xEFC60000u
    return y ^ (y >> 18)


cdef class Order:
    """The places of n examples, in the order that `rng.shuffle(list(range(n)))` gives them, again and again.

    Args:
        n: how many there are, less than 2**32.
        rng: the module random, or a `random.Random`; None to keep them as they are.
        is_own: whether nobody else uses it: its state is then not given back.
    """
    cdef Py_ssize_t n, place
    cdef object rng
    cdef bint is_own, is_known       # is_known: whether the state is that of rng, or behind it
    cdef bint has_drawn
    cdef uint32_t state[TWISTER_SIZE]
    cdef Py_ssize_t *places          # NULL without an rng

    def __cinit__(self, Py_ssize_t n, rng, bint is_own):
        self.n, self.rng, self.is_own = n, rng, is_own
        if rng is None:
            return
        self.places = <Py_ssize_t *>PyMem_Malloc((n + 1) * sizeof(Py_ssize_t))
        if self.places == NULL:
            raise MemoryError(f"no memory for the order of {n:,} examples")

    def __dealloc__(self):
        PyMem_Free(self.places)

    @property
    def is_twister(self):
        """Whether the order of an epoch is found without Python."""
        return self.rng is None or self.rng is random or type(self.rng) is random.Random

    cdef int begin(self) except -1:
        """An epoch begins: make its order; or, if no Python is needed for that, be ready to."""
        if self.rng is None:
            return 0
        if not self.is_twister:
            order = list(range(self.n))
            self.rng.shuffle(order)
            if sorted(order) != list(range(self.n)):     # rows are read at these places, unchecked
                raise ValueError(f"{self.rng!r:.60} does not shuffle: it changes what is in the list")
            for i in range(self.n):
                self.places[i] = order[i]
        elif not (self.is_own and self.is_known):
            _, state, _ = self.rng.getstate()
            for i in range(TWISTER_SIZE):
                self.state[i] = state[i]
            self.place = max(0, state[TWISTER_SIZE])
            self.is_known = True
        return 0

    cdef int end(self) except -1:
        if not self.is_own:
            self.give_back()
        return 0

    def give_back(self):
        """Give the state of the generator back, from which others go on."""
        if self.has_drawn:
            version, _, gauss = self.rng.getstate()
            self.rng.setstate((version, (*[self.state[i] for i in range(TWISTER_SIZE)], self.place), gauss))
        self.has_drawn = self.is_known = False

    cdef void shuffle(self) noexcept nogil:
        """Make the order of the next epoch: Random.shuffle, with Random._randbelow_with_getrandbits."""
        cdef Py_ssize_t i
        cdef uint64_t j
        cdef int bits
        for i in range(self.n):
            self.places[i] = i
        for i in range(self.n - 1, 0, -1):
            bits = 0
            while (<uint64_t>i + 1) >> bits:
                bits += 1
            j = twister_next(self.state, &self.place) >> (32 - bits)
            while j > <uint64_t>i:
                j = twister_next(self.state, &self.place) >> (32 - bits)
            self.places[i], self.places[j] = self.places[j], self.places[i]
        self.has_drawn = True
