"""The unsealed keys of a worker: whose they are, how much they take, and how they go."""

from collections import OrderedDict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from keyiso import limits
from keyiso.crypto.algorithms import ALGORITHMS
from keyiso.errors import NCryptError
from keyiso.status import Status
from keyiso.trustlet.engine import LoadedKey
from keyiso.trustlet.key_cache import KeyCache
from tests.unit.samples import ec_key, header

EC_BYTES = limits.LOADED_EC_BYTES
RSA_BYTES = limits.LOADED_RSA_BYTES
UID = 1000


def loaded(key_id: int, algorithm: str = "ECDSA_P256") -> LoadedKey:
    """A key without a public one, so that it takes what its algorithm takes."""
    return LoadedKey(
        ec_key(), header(key_id=key_id.to_bytes(16, "big"), algorithm=algorithm, public_key=b"")
    )


def id_of(key: LoadedKey) -> bytes:
    return key.header.key_id


def is_stale(cache: KeyCache, channel: str, slot: int) -> bool:
    try:
        cache.use(channel, slot)
    except NCryptError as error:
        assert error.status == Status.KEYISO_E_STALE
        return True
    return False


@pytest.fixture
def cache() -> KeyCache:
    """Room for four keys of a curve."""
    return KeyCache(4 * EC_BYTES)


def test_a_key_takes_what_its_algorithm_and_its_public_key_take() -> None:
    key = LoadedKey(ec_key(), header(public_key=b"p" * 91))

    assert key.memory == ALGORITHMS["ECDSA_P256"].loaded_bytes + 91
    assert loaded(1, "RSA").memory == RSA_BYTES


def test_a_slot_holds_its_key(cache: KeyCache) -> None:
    keys = [loaded(number) for number in range(3)]
    slots = [cache.add("channel", UID, key) for key in keys]

    assert [cache.use("channel", slot) for slot in slots] == keys
    assert len(cache) == 3


def test_a_slot_means_nothing_on_another_channel(cache: KeyCache) -> None:
    slot = cache.add("channel", UID, loaded(1))

    assert is_stale(cache, "another", slot)
    cache.release("another", slot)
    assert not is_stale(cache, "channel", slot)


@pytest.mark.parametrize("slot", [0, -1, 2, 2**63])
def test_a_slot_that_never_was_is_stale(cache: KeyCache, slot: int) -> None:
    cache.add("channel", UID, loaded(1))

    assert is_stale(cache, "channel", slot)


def test_a_slot_is_never_used_again(cache: KeyCache) -> None:
    """An old number must not reach a new key."""
    slots = []
    for number in range(10):
        slots.append(cache.add("channel", UID, loaded(number)))
        cache.release("channel", slots[-1])

    assert len(set(slots)) == 10
    assert len(cache) == 0


def test_the_longest_unused_key_makes_room(cache: KeyCache) -> None:
    slots = [cache.add("channel", UID, loaded(number)) for number in range(4)]
    cache.use("channel", slots[0])
    cache.use("channel", slots[2])
    cache.add("channel", UID, loaded(5))
    cache.add("another", UID, loaded(6))

    assert [is_stale(cache, "channel", slot) for slot in slots] == [False, True, False, True]


def test_a_large_key_pushes_out_as_many_as_it_needs() -> None:
    cache = KeyCache(RSA_BYTES + EC_BYTES)
    small = [cache.add("channel", UID, loaded(number)) for number in range(5)]
    assert len(cache) == 5
    large = cache.add("channel", UID, loaded(9, "RSA"))

    assert not is_stale(cache, "channel", large)
    assert [is_stale(cache, "channel", slot) for slot in small] == [True, True, True, True, False]


def test_as_many_keys_stay_as_there_is_room_for(cache: KeyCache) -> None:
    for number in range(1000):
        cache.add(f"channel {number % 7}", UID, loaded(number))

    assert len(cache) == 4


def test_a_released_key_makes_room(cache: KeyCache) -> None:
    slots = [cache.add("channel", UID, loaded(number)) for number in range(4)]
    cache.release("channel", slots[3])
    cache.release("channel", slots[3])
    cache.add("channel", UID, loaded(5))

    assert [is_stale(cache, "channel", slot) for slot in slots] == [False, False, False, True]


def test_revoking_empties_every_slot_of_every_channel(cache: KeyCache) -> None:
    key, other = loaded(1), loaded(2)
    slots = [cache.add(channel, UID, key) for channel in ("first", "first", "second")]
    kept = cache.add("second", UID, other)
    cache.revoke(id_of(key))
    cache.revoke(id_of(key))
    cache.revoke(b"never seen.. ..!")

    assert [
        is_stale(cache, "first", slots[0]),
        is_stale(cache, "first", slots[1]),
        is_stale(cache, "second", slots[2]),
        is_stale(cache, "second", kept),
    ] == [True, True, True, False]


def test_a_channel_that_ends_takes_its_keys_with_it(cache: KeyCache) -> None:
    key = loaded(1)
    mine, others = cache.add("mine", UID, key), cache.add("others", UID, key)
    cache.drop_channel("mine")
    cache.drop_channel("mine")
    cache.drop_channel("never seen")

    assert is_stale(cache, "mine", mine)
    assert not is_stale(cache, "others", others)
    assert len(cache) == 1


def test_a_stale_slot_is_named_in_the_error(cache: KeyCache) -> None:
    with pytest.raises(NCryptError, match="slot 4711"):
        cache.use("channel", 4711)


def test_a_key_that_is_larger_than_all_memory_is_refused_and_costs_nobody_else() -> None:
    cache = KeyCache(EC_BYTES)
    slot = cache.add("channel", UID, loaded(1))

    with pytest.raises(NCryptError):
        cache.add("channel", UID, loaded(2, "RSA"))
    assert not is_stale(cache, "channel", slot)


# --- users -------------------------------------------------------------------------------------


def test_who_fills_the_cache_evicts_his_own_keys(cache: KeyCache) -> None:
    modest = cache.add("modest", 1, loaded(1))
    greedy = [cache.add("greedy", 2, loaded(number)) for number in range(2, 20)]

    assert not is_stale(cache, "modest", modest)
    assert [is_stale(cache, "greedy", slot) for slot in greedy[-3:]] == [False] * 3


def test_a_new_user_gets_room_from_who_has_the_most(cache: KeyCache) -> None:
    modest = cache.add("modest", 1, loaded(1))
    greedy = [cache.add("greedy", 2, loaded(number)) for number in range(2, 5)]
    new = cache.add("new", 3, loaded(9))

    assert [is_stale(cache, "greedy", slot) for slot in greedy] == [True, False, False]
    assert not is_stale(cache, "modest", modest)
    assert not is_stale(cache, "new", new)


def test_two_users_who_want_everything_have_half_each(cache: KeyCache) -> None:
    slots: dict[int, list[int]] = {1: [], 2: []}
    for number in range(50):
        for uid in slots:
            slots[uid].append(cache.add(f"of {uid}", uid, loaded(number)))

    for uid, own in slots.items():
        assert [is_stale(cache, f"of {uid}", slot) for slot in own[-3:]] == [True, False, False]


def test_who_has_nothing_yet_is_not_held_up_by_a_large_key() -> None:
    """By it, the new user would have the most, and has no key to lose."""
    cache = KeyCache(RSA_BYTES + EC_BYTES)
    for uid in range(5):
        cache.add(f"of {uid}", uid, loaded(uid))
    large = cache.add("large", 9, loaded(9, "RSA"))

    assert not is_stale(cache, "large", large)
    assert len(cache) == 2


class CacheMachine(RuleBasedStateMachine):
    """The cache against a model: an ordered list of places, longest unused first, and their
    users."""

    CHANNELS = st.sampled_from([("a", 1), ("b", 1), ("c", 2), ("d", 3)])
    """Channels with their users."""
    KEY_IDS = st.integers(0, 5)
    CAPACITY = 2 * RSA_BYTES + 3 * EC_BYTES

    places: Bundle[tuple[str, int]] = Bundle("places")

    def __init__(self) -> None:
        super().__init__()
        self.cache = KeyCache(self.CAPACITY)
        self.model: OrderedDict[tuple[str, int], tuple[int, LoadedKey]] = OrderedDict()

    def memory(self, uid: int | None = None) -> int:
        return sum(key.memory for user, key in self.model.values() if uid in (None, user))

    @rule(
        target=places,
        channel=CHANNELS,
        key_id=KEY_IDS,
        algorithm=st.sampled_from(["RSA", "ECDSA_P256", "ECDSA_P521"]),
    )
    def add(self, channel: tuple[str, int], key_id: int, algorithm: str) -> tuple[str, int]:
        key = loaded(key_id, algorithm)
        name, uid = channel
        place = (name, self.cache.add(name, uid, key))
        while self.memory() + key.memory > self.CAPACITY:
            self.evict(uid, key.memory)
        assert place not in self.model
        self.model[place] = uid, key
        return place

    def evict(self, uid: int, wanted: int) -> None:
        """The user who would have the most loses the longest unused key."""
        users = {user for user, _ in self.model.values()}
        _, most = max((self.memory(user) + wanted * (user == uid), user) for user in users)
        del self.model[next(place for place, (user, _) in self.model.items() if user == most)]

    @rule(place=places)
    def use(self, place: tuple[str, int]) -> None:
        if place in self.model:
            assert self.cache.use(*place) is self.model[place][1]
            self.model.move_to_end(place)
        else:
            assert is_stale(self.cache, *place)

    @rule(place=places, channel=CHANNELS)
    def use_on_another_channel(self, place: tuple[str, int], channel: tuple[str, int]) -> None:
        if channel[0] != place[0]:
            assert is_stale(self.cache, channel[0], place[1])

    @rule(place=places)
    def release(self, place: tuple[str, int]) -> None:
        self.cache.release(*place)
        self.model.pop(place, None)

    @rule(key_id=KEY_IDS)
    def revoke(self, key_id: int) -> None:
        self.cache.revoke(key_id.to_bytes(16, "big"))
        for place, (_, key) in list(self.model.items()):
            if id_of(key) == key_id.to_bytes(16, "big"):
                del self.model[place]

    @rule(channel=CHANNELS)
    def drop(self, channel: tuple[str, int]) -> None:
        self.cache.drop_channel(channel[0])
        for place in list(self.model):
            if place[0] == channel[0]:
                del self.model[place]

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert len(self.cache) == len(self.model)
        assert self.memory() <= self.CAPACITY


TestCacheAgainstAModel = CacheMachine.TestCase
TestCacheAgainstAModel.settings = settings(max_examples=60, stateful_step_count=40)
