"""Models as files for other programs: ONNX, `torch.export`, safetensors and Triton."""
