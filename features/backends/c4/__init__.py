"""C4 Faster R-CNN in five published variants: one graph, and a table of what differs between them."""
