"""Rows of one kind that outlive who wrote them."""


class KeptRows:
    """Has a store commit its rows here, and another one of the kind take them up."""

    def __init__(self, make):
        """`make(commit)` makes the store."""
        self._make = make
        self.rows, self.writes = {}, []

    async def commit(self, changes):
        self.writes.append(len(changes))
        self.rows |= dict(changes)
        self.rows = {key: row for key, row in self.rows.items() if row is not None}

    def open(self, *args):
        opened = self._make(self.commit, *args)
        for _, row in sorted(self.rows.items(), reverse=True):
            opened.adopt(row)
        return opened
