"""The data plane: worker processes in which alone private keys and roots exist in the clear."""
