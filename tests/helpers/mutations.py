"""Damage to the bytes of a file, as hypothesis draws it."""

from hypothesis import strategies as st


def damaged(file: bytes) -> st.SearchStrategy[bytes]:
    """The file with some bytes changed, cut out, doubled or put in; or cut short."""
    positions = st.integers(0, len(file) - 1) | st.integers(0, min(64, len(file) - 1))
    change = st.tuples(
        st.sampled_from(["set", "flip", "cut", "double", "insert"]),
        positions,
        st.integers(0, 255) | st.sampled_from([0, 1, 127, 128, 255]),
    )
    mutated = st.lists(change, min_size=1, max_size=4).map(lambda changes: _change(file, changes))
    return mutated | positions.map(lambda end: file[:end])


def _change(file: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    content = bytearray(file)
    for kind, position, value in changes:
        if kind == "set":
            content[position : position + 1] = bytes([value])
        elif kind == "flip":
            content[position : position + 1] = bytes(byte ^ 1 << value % 8 for byte in content[position : position + 1])
        elif kind == "cut":
            del content[position : position + value]
        elif kind == "double":
            content[position:position] = content[position : position + value]
        else:
            content[position:position] = bytes([value]) * 4
    return bytes(content)
