# The rows of the table in ops.h, for Python. Included by value.pyx.

Row = namedtuple("Row", "name op operands params value gx gy gz doc")
Row.__doc__ = "One row of the table in ops.h; see there for the columns."
TABLE = tuple([
    Row(*[text.decode() if type(text) is bytes else text for text in (
        mgc_rows[i].name, mgc_rows[i].op, mgc_rows[i].operands, mgc_rows[i].params,
        mgc_rows[i].value, mgc_rows[i].gx, mgc_rows[i].gy, mgc_rows[i].gz, mgc_rows[i].doc)])
    for i in range(1, MGC_TABLE_END)])
