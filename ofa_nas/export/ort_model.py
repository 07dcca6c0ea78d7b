"""An exported file, run by ONNX Runtime on real images."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch

from ofa_nas.accuracy import Top1
from ofa_nas.data import Normalization, Pixels
from ofa_nas.data.augment import to_input
from ofa_nas.data.packed import PackedImages
from ofa_nas.devices.agent import EXACT_PRODUCTS, usable_cores
from ofa_nas.errors import VerificationError
from ofa_nas.export.interface import with_batch

PLAIN = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # leaves pixels as they are


class OrtModel:
    """An exported model in ONNX Runtime, fed with real images: one thread an image, so many at once.

    Args:
        model: To run.
        normalization: Of its input.
        name: Of it, for messages.
        threads: Images at once; None for one on each core that this process may run on.

    Raises:
        VerificationError: ONNX Runtime refuses the model, at once or when it is run.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        normalization: Normalization,
        *,
        name: str = "the model",
        threads: int | None = None,
    ) -> None:
        self.model, self.content, self.name = model, model.SerializeToString(), name
        self.normalization = normalization
        self.workers = threads or usable_cores()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # what it refuses, the error says
        options.add_session_config_entry(*EXACT_PRODUCTS)
        try:
            self.session: Any = onnxruntime.InferenceSession(
                self.content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's own classes differ from version to version
            raise self._refusal(error) from error
        self.image, self.output = self.session.get_inputs()[0].name, self.session.get_outputs()[0].name
        given = self.session.get_inputs()[0]
        self.takes_pixels = given.type == "tensor(uint8)"
        self.batch = given.shape[0] if isinstance(given.shape[0], int) else None
        self.resolution = int(given.shape[2] if self.takes_pixels else given.shape[3])

    def _refusal(self, error: Exception) -> VerificationError:
        told = str(error).partition("\n")[0][:300]
        return VerificationError(f"ONNX Runtime refuses {self.name}: {told}")

    def timed(self) -> bytes:
        """What is run to see what the file takes: itself, with a batch of one where it leaves that open."""
        content: bytes = self.content if self.batch else with_batch(self.model, 1).SerializeToString()
        return content

    def inputs(self, images: Pixels) -> torch.Tensor:
        """What the network of the file sees of images `(n, S, S, 3)`: `(n, 3, R, R)` float32; so of signals.

        A file that takes pixels sees them rounded after resizing; torch is given the same.
        """
        if self.takes_pixels:
            images = self._pixels(images)
        return to_input(torch.from_numpy(np.ascontiguousarray(images)), self.resolution, self.normalization)

    def _pixels(self, images: Pixels) -> npt.NDArray[np.uint8]:
        """Images `(n, R, R, 3)` of the file's own resolution."""
        resized = to_input(torch.from_numpy(np.ascontiguousarray(images)), self.resolution, PLAIN)
        return resized.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()

    def logits(self, images: Pixels, *, at_once: int = 1) -> npt.NDArray[np.float32]:
        """Logits `(n, K)` of images `(n, S, S, 3)`, in batches of the file's own size.

        Args:
            images: To classify.
            at_once: Size of a batch where the file leaves it open.
        """
        inputs = (
            self._pixels(images) if self.takes_pixels else np.ascontiguousarray(self.inputs(images).numpy())
        )
        size = self.batch or at_once
        padded = np.concatenate([inputs, np.repeat(inputs[-1:], -len(inputs) % size, axis=0)])

        def run(start: int) -> npt.NDArray[np.float32]:
            some = padded[start : start + size]
            try:
                return np.asarray(self.session.run([self.output], {self.image: some})[0])
            except Exception as error:
                raise self._refusal(error) from error

        with ThreadPoolExecutor(self.workers) as pool:
            found = list(pool.map(run, range(0, len(padded), size)))
        return np.concatenate(found)[: len(inputs)]


def count_correct_in_file(file: OrtModel, split: PackedImages) -> Iterator[Top1]:
    """Classify images with the file; yields the count after every hundred, the last being that of all."""
    correct = done = 0
    for predicted in classify(file, split.images):
        correct += int((predicted == split.labels[done : done + len(predicted)]).sum())
        done += len(predicted)
        yield Top1(correct, done)


def classify(file: OrtModel, images: Pixels) -> Iterator[npt.NDArray[np.int64]]:
    """What the file takes images `(n, S, S, 3)` for: numbers of classes, a hundred at a time."""
    for start in range(0, len(images), 100):
        yield file.logits(images[start : start + 100]).argmax(axis=1)
