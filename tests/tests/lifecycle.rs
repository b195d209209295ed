//! An agent's life: killed and started again, two of them on one socket, in the background, stopped; what it
//! keeps meanwhile, and who may reach it.
