"""Examples of a prepared split by index, as the bytes of their files: records that TFDS wrote."""

from collections.abc import Sequence
from typing import Any

from array_record.python.array_record_data_source import ArrayRecordDataSource
from tensorflow_datasets.proto import tf_example_pb2

REMEDY = "prepare it again with --overwrite"


class Records:
    """The examples of a split. Pickles into worker processes, without content."""

    def __init__(self, files: Sequence[str]) -> None:
        """Takes ArrayRecord files with one TFDS example per record, in order. Raises OSError if one is damaged."""
        self._files = ", ".join(files)
        try:
            self._records: Any = ArrayRecordDataSource(files) if files else []
        except RuntimeError as error:
            raise self._damaged(error) from error

    def __len__(self) -> int:
        return len(self._records)

    def read(self, indices: Sequence[int], *features: str) -> list[tuple[bytes, ...]]:
        """These features of several examples in one request: 128 together take a fifth of the time of one by one.

        Raises OSError, naming the files, where one is damaged.
        """
        try:
            records = self._records.__getitems__(indices)
        except RuntimeError as error:
            raise self._damaged(error) from error
        # The protocol buffer itself, because TFDS's own parser takes as long as it takes to decode a small JPEG.
        examples = map(tf_example_pb2.Example.FromString, records)
        return [tuple(found.features.feature[name].bytes_list.value[0] for name in features) for found in examples]

    def _damaged(self, error: RuntimeError) -> OSError:
        return OSError(f"{self._files} is damaged ({str(error) or 'not complete'}); {REMEDY}")
