"""Inputs: whatever is handed in, forged or huge, ends in a right result or a clear error, and takes bounded memory."""
