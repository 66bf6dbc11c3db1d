//! End-to-end tests: the real server, driven and watched by the programs that people use with it.
//! One binary with a module for each theme; run with `cargo nextest run -p flyloft-tests`.

mod show;

mod authoring;
mod harness;
mod hostile;
mod http;
mod life;
mod load;
mod media;
mod modes;
mod outages;
mod players;
mod plugins;
mod slow;
mod survival;
mod timestamps;
mod vod;
mod webhooks;
