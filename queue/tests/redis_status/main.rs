//! The status store on Redis: the suite, the rule, the layout, and what breaks.

mod faults;
mod layout;
mod loss;
mod refusals;
mod rule;
mod suite;
mod support;
