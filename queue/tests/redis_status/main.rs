//! The status store on Redis: the suite, the rule, the layout, and what breaks.

mod rule;
mod suite;
mod support;
