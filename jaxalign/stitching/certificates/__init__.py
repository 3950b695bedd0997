"""What the alignment of two layers guarantees about stitching one model into the other."""
