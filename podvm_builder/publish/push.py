"""Reading, merging, writing and reading back.

The protocols can overwrite a name and nothing more: there is no list, no deletion and no transaction. So only names
that are asked for are looked at, all changes go out in one message, and what counts is what is read afterwards, not
what the answer to the writing was. Doing it again is always safe, and does nothing where all is well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podvm_builder.errors import RemoteError
from podvm_builder.publish.store import REFUSED, Store
from podvm_builder.refvalues.merge import ABSENT, Change, same

INCOMPLETE = "PVB654"
OTHER_VALUE = "PVB655"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was found and done."""

    where: str
    changes: tuple[Change, ...]
    """Every name that was looked at, also those that are as they should be."""
    written: bool
    """False for a dry run, and where nothing had to change."""

    @property
    def is_change(self) -> bool:
        """Whether something is, or would be, other than before."""
        return any(change.is_change for change in self.changes)


def apply(
    store: Store,
    names: Sequence[str],
    plan: Callable[[Mapping[str, Any]], tuple[Change, ...]],
    *,
    dry_run: bool = False,
) -> Outcome:
    """Bring a store to what a plan makes of its present values.

    Args:
        store: the verifier's values.
        names: what is read before the plan is made.
        plan: present values to changes, :func:`podvm_builder.refvalues.merge.plan_push` or ``plan_retire``.
        dry_run: whether nothing is written.

    Raises:
        RemoteError: it refused (PVB652) or could not be read (PVB653); some names were not written, which the message
            names (PVB654); it holds something else than what was written (PVB655).
    """
    changes = plan(store.read(names))
    wanted = {change.name: change.after for change in changes if change.is_change}
    if dry_run or not wanted:
        return Outcome(where=store.where, changes=changes, written=False)
    failure: RemoteError | None = None
    try:
        store.write(wanted)
    except RemoteError as error:
        if error.code == REFUSED:
            raise
        failure = error
    _confirm(store, [change for change in changes if change.is_change], failure)
    return Outcome(where=store.where, changes=changes, written=True)


def _confirm(store: Store, changes: Sequence[Change], failure: RemoteError | None) -> None:
    """Read back what was written.

    Raises:
        RemoteError: not all of it is there.
    """
    try:
        found = store.read([change.name for change in changes])
    except RemoteError as error:
        first = failure or error
        raise RemoteError(
            f"{store.where}: it is not known what was written of {_names(changes)}: {first.message}",
            code=INCOMPLETE,
            hint="when it answers again, run the same command again: it writes only what is missing",
        ) from error
    there = [change for change in changes if same(found.get(change.name, ABSENT), change.after)]
    if len(there) == len(changes):
        return
    missing = [change for change in changes if change not in there]
    as_before = [change for change in missing if same(found.get(change.name, ABSENT), change.before)]
    if failure is not None or as_before == missing:
        why = f": {failure.message}" if failure is not None else ", though the answer was that all is well"
        raise RemoteError(
            f"{store.where}: written: {_names(there)}; not written: {_names(missing)}{why}",
            code=INCOMPLETE,
            hint="run the same command again: it writes only what is missing",
        )
    other = [change for change in missing if change not in as_before]
    raise RemoteError(
        f"{store.where}: {_names(other)} holds something else than what was written",
        code=OTHER_VALUE,
        hint="somebody else may write as well; run the same command again, and look at the values if that fails",
    )


def _names(changes: Sequence[Change]) -> str:
    return ", ".join(f"`{change.name}`" for change in changes) or "nothing"
