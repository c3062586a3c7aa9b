//! Sessions in Redis: the suite, the layout, what is counted, and what breaks.

mod failovers;
mod faults;
mod index;
mod layout;
mod loss;
mod parity;
mod suite;
mod support;
mod trips;
