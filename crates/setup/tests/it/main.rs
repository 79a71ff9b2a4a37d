//! Observing and applying on real servers, started here on private ports and stopped by pid.

mod harness;
mod real_converge;
mod real_drift;
