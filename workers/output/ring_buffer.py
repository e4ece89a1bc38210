"""The last bytes of a stream, in a buffer of fixed size."""


class RingBuffer:
    """Keeps the newest ``size`` bytes.

    Args:
        size: in bytes; there is no memory for it before the first byte.

    Attributes:
        size: likewise.
        filled_bytes: how many are there.
    """

    def __init__(self, size: int) -> None:
        self._data = bytearray()
        self.size = size
        self._at = 0
        self.filled_bytes = 0

    def put(self, data: bytes | memoryview) -> None:
        """Take bytes; the oldest make room."""
        data = data[max(0, len(data) - self.size) :]
        first, second = self.room()
        begin = min(len(data), len(first))
        first[:begin] = data[:begin]
        second[: len(data) - begin] = data[begin:]
        self.wrote(len(data))

    def room(self) -> tuple[memoryview, memoryview]:
        """All of it as two views in order, to be written into from outside; then ``wrote``."""
        if not self._data:
            self._data = bytearray(self.size)
        view = memoryview(self._data)
        return view[self._at :], view[: self._at]

    def wrote(self, size: int) -> None:
        """So many bytes, at most ``self.size``, were written into ``room``."""
        self._at = (self._at + size) % self.size
        self.filled_bytes = min(self.size, self.filled_bytes + size)

    def clear(self) -> None:
        """Forget what is there: bytes that follow it were never seen."""
        self._at = self.filled_bytes = 0

    def last(self, size: int) -> tuple[memoryview, memoryview]:
        """The newest ``size`` bytes, or all where there are fewer, as two views in order.

        The views hold until the next ``put``.
        """
        size = min(size, self.filled_bytes)
        view = memoryview(self._data)
        begin = self._at - size
        if begin >= 0:
            return view[begin : self._at], view[:0]
        return view[begin + self.size :], view[: self._at]
