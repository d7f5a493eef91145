# What a notebook shows of a Value. Included by value.pyx.


def in_a_cell(Value self not None):
    """Return what a notebook shows: the repr, the label and what made it; None where the repr has to do.

    It looks at this node alone, however many are behind it, and changes nothing.
    """
    from microgradc.cells import code, line, of_count

    try:
        facts = ["" if self.label is None else str(self.label)]
        if self.node.op != MGC_LEAF:
            facts.append(f"made by {op_of(self)}, of {of_count(mgc_operand_count(&self.node), 'operand')}")
        return line(code(repr(self)), facts)
    except Exception:     # of a repr or a label that is the user's
        return None
