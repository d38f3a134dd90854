"""Divides a number of places among accounts and senders, so that none takes all of them."""

from collections import Counter

from worker.ports.claims import ClaimRoom, Owner


class Shares:
    """A number of places: slots, or messages that a worker holds.

    Where there are several accounts or senders, each may take three quarters of the places. One
    place in eight is for urgent messages only. So an account whose POSTs hang, or a sender with a
    backlog, leaves room for the others, whatever they do.

    `used`: how many places are taken.
    """

    def __init__(self, places: int, *, accounts: int = 1, senders: int = 1) -> None:
        self.used = 0
        self._places = places
        self._for_urgent = places // 8
        share = places - places // 4
        self._account_share = share if accounts > 1 else places
        self._sender_share = share if senders > 1 else places
        self._accounts: Counter[str] = Counter()
        self._senders: Counter[str] = Counter()

    @property
    def room(self) -> ClaimRoom:
        """How many more places there are, and for whom."""
        return ClaimRoom(
            ordinary=max(0, self._places - self._for_urgent - self.used),
            account_share=self._account_share,
            sender_share=self._sender_share,
            accounts=dict(self._accounts),
            senders=dict(self._senders),
        )

    def has_room_for(self, owner: Owner) -> bool:
        """Return whether a message of this owner may take a place now."""
        if self.used >= self._places - (0 if owner.is_urgent else self._for_urgent):
            return False
        return (
            self._accounts[owner.account] < self._account_share
            and self._senders[owner.sender] < self._sender_share
        )

    def take(self, owner: Owner) -> None:
        """Take a place, even one that there is no room for: what a claim brought is held."""
        self.used += 1
        self._accounts[owner.account] += 1
        self._senders[owner.sender] += 1

    def give(self, owner: Owner) -> None:
        """Free a place of this owner."""
        self.used -= 1
        for counter, name in ((self._accounts, owner.account), (self._senders, owner.sender)):
            counter[name] -= 1
            if counter[name] <= 0:
                del counter[name]
