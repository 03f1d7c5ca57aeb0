"""The control plane: who may use which key. It never sees a private key or a root."""
