"""Entries by the type of a record: the registry behind writers, pages and checks."""

from typing import Generic, TypeVar

from jnrsfm.errors import InputError

Entry = TypeVar("Entry")


class ByType(Generic[Entry]):
    """Entries by the type of a record: how it is written, drawn, checked. A subclass has its base's entry.

    A new kind of result costs a registration in each of these, and no branch anywhere.
    """

    def __init__(self, what: str):
        self.what = what
        self._entries: dict[type, Entry] = {}

    def register(self, kind: type, entry: Entry) -> Entry:
        """Add the entry of a type. Raises ValueError where it has one."""
        if kind in self._entries:
            raise ValueError(f"{kind.__name__} has its {self.what} already")
        self._entries[kind] = entry
        return entry

    def __contains__(self, kind: type) -> bool:
        return any(base in self._entries for base in kind.__mro__)

    def __getitem__(self, kind: type) -> Entry:
        for base in kind.__mro__:
            if base in self._entries:
                return self._entries[base]
        known = ", ".join(k.__name__ for k in self._entries) or "nothing"
        raise InputError(f"a {kind.__name__} has no {self.what}: there is one for {known}")

    def kinds(self) -> tuple[type, ...]:
        """The types that have an entry of their own."""
        return tuple(self._entries)
