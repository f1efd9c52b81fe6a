//! The HTTP side of a real node over real sockets: what clients see, and what hostile ones can do.

#[cfg(test)]
mod access;
mod assets;
#[cfg(test)]
mod client;
mod documents;
#[cfg(test)]
mod early_refusal;
#[cfg(test)]
mod objects;
mod uploads;
mod wire;
