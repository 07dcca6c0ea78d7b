"""Precisions of weights and activations, by name."""

FP32, FP16, INT8 = "fp32", "fp16", "int8"
FILE_PRECISIONS = (FP32, FP16, INT8)  # that exported files may have
TABLE_PRECISIONS = (FP32, INT8)  # of networks that latency tables are measured with
