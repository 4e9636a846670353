//! Parts of the load bench.
