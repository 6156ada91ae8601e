"""Write a classifier as an ONNX model, and compare it with the original."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from robustvit.common.errors import UserError
from robustvit.common.extras import import_extra
from robustvit.models.classifier import Classifier

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from onnx import FunctionProto, GraphProto

TOLERANCE = 1e-4  # absolute, for float32 logits; 1e-5 of the largest logit is added
BATCHES = (1, 2, 5)
_ONE_FILE = 1_800_000_000  # bytes of weights; protobuf, the file format, is limited to 2 GB


def write_onnx(classifier: Classifier, path: Path) -> float:
    """Write ``model.onnx``: images ``(B, 3, H, W)`` in [0, 1] to logits ``(B, C)``, any B; normalization is included.

    The classifier is in evaluation mode, on the CPU. Very large weights go to ``model.onnx.data`` next to the file.
    Return the largest difference between the logits of onnxruntime and PyTorch.
    """
    onnx = import_extra("onnx", "onnx")
    import_extra("onnxscript", "onnx")
    import_extra("onnxruntime", "onnx")
    model = _convert(classifier)
    for node in _list_nodes(model.graph, model.functions):
        del node.metadata_props[:]  # source files and lines on this machine
        node.doc_string = ""
    about = {"label_names": list(classifier.class_names), "input": "RGB images in [0, 1], not normalised"}
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in about.items()})
    size = sum(tensor.nbytes for tensor in classifier.state_dict().values())
    beside = {"save_as_external_data": True, "location": f"{path.name}.data"} if size > _ONE_FILE else {}
    onnx.save(model, str(path), **beside)
    return _compare(classifier, path)


def _convert(classifier: Classifier) -> Any:
    """Export the graph with torch."""
    height, width = classifier.preprocessing.input_size
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                classifier,
                (torch.rand(2, 3, height, width),),
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # the exporter fails in many ways, depending on the model
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"cannot write {type(classifier.network).__name__} as ONNX ({reason}): export it with --format auto"
            ) from error
    return program.model_proto  # type: ignore[union-attr]


def _list_nodes(graph: GraphProto, functions: Sequence[FunctionProto] = ()) -> list[Message]:
    """Return everything in a graph that has metadata: the graph, its nodes and values, and nested graphs."""
    found: list[Message] = [graph, *graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for node in graph.node:
        found.append(node)
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
            found += [part for one in inner for part in _list_nodes(one)]
    for function in functions:
        found += [function, *function.value_info, *function.node]
    return found


def _compare(classifier: Classifier, path: Path) -> float:
    """Return the largest difference of a logit between both models; raise if it is too large."""
    runtime = import_extra("onnxruntime", "onnx")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch in BATCHES:
        images = torch.rand(batch, 3, *classifier.preprocessing.input_size, generator=generator)
        with torch.no_grad():
            expected = classifier(images)
        found = torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
        difference = float((found - expected).abs().max())
        if not difference <= TOLERANCE + 1e-5 * float(expected.abs().max()):
            raise UserError(
                f"the ONNX model's logits differ from the original's by {difference:.1e}, expected at most "
                f"{TOLERANCE:g}: share the weights instead, with --format auto"
            )
        worst = max(worst, difference)
    return worst
