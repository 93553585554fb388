"""The other composition: the same tracker and nodes, a modelled network, a clock on a heap."""
