//! Names, checked once, when they are made.
