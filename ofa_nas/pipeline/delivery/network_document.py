"""What the document of a search tells of one network, block by block, and of the tables behind its times."""

from dataclasses import asdict
from typing import Any

from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.searching.estimators import Estimators
from ofa_nas.space.architecture import Architecture, Block
from ofa_nas.space.blocks import axes_of
from ofa_nas.space.costs import layer_macs
from ofa_nas.space.layer import Layer, block_name
from ofa_nas.space.precision import moments, weight_bytes


def network_document(arch: Architecture, estimators: Estimators) -> dict[str, Any]:
    """Layers in execution order with their times and memory, and what a network takes beside them."""
    tables = estimators.tables
    layers = list(estimators.encoding.space.layers(arch))
    blocks = _blocks(arch)
    return {
        "resolution": arch.resolution,
        "stages": [
            {"blocks": len(chosen), "most_blocks": stage.depths[-1], "width": stage.width}
            for chosen, stage in zip(arch.stages, estimators.encoding.space.stages, strict=True)
        ],
        "constant_ms": {name: table.constant_ms(arch.resolution) for name, table in tables.items()},
        "layers": [
            _layer(layer, blocks.get(layer.name), precision=estimators.precision)
            | {
                "latency_ms": {
                    name: table.layer_ms(layer, resolution=arch.resolution) for name, table in tables.items()
                }
            }
            for layer in layers
        ],
    }


def table_document(table: LatencyTable) -> dict[str, Any]:
    """What a latency table rests on, how far off it was, and what doubts it."""
    last = table.history[-1] if table.history else None
    return {
        "name": table.name,
        "provenance": table.provenance,
        "device": asdict(table.device),
        "error": None if table.error is None else asdict(table.error),
        "judged_on": table.judged_on,
        "holdouts": [
            {
                "architecture": one.architecture,
                "measured_ms": one.measured_ms,
                "predicted_ms": one.predicted_ms,
            }
            for one in (table.measured.holdouts if table.measured else ())
        ],
        "notes": list(table.notes),
        "sources": list(table.sources),
        "licence": table.published.licence if table.published else None,
        "verified": None
        if last is None
        else {
            "made_on": last.made_on,
            "passed": last.passed,
            "faults": list(last.faults),
            "stale": list(last.stale),
        },
        "made_by": dict(table.made_by),
    }


def _blocks(arch: Architecture) -> dict[str, tuple[int, Block]]:
    """Stage and choice of each block by the name of its layer."""
    return {
        block_name(stage, index): (stage, block)
        for stage, blocks in enumerate(arch.stages)
        for index, block in enumerate(blocks)
    }


def _layer(layer: Layer, block: tuple[int, Block] | None, *, precision: str) -> dict[str, Any]:
    axes = axes_of(layer.kind)
    return {
        **asdict(layer),
        **({"axes": axes} if axes != 2 else {}),
        "stage": None if block is None else block[0],
        "expand_ratio": None if block is None else block[1].expand_ratio,
        "macs": layer_macs(layer),
        "weight_bytes": weight_bytes(layer, precision),
        "operators": [
            {"name": moment.operator, "tensors": dict(moment.tensors)} for moment in moments(layer, precision)
        ],
    }
