"""From a supernet and an architecture to an ONNX file, and the proof that the file is right."""
