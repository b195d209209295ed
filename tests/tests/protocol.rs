//! The agent protocol, byte by byte, from a client of our own: frames and their limits, what is refused
//! and how, bindings that fail, and clients that send ahead or hang up.
