"""Programs in a virtual machine, keys outside of it: the two ends of the line between them."""
