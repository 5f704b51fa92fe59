//! The simulated marketplaces.
