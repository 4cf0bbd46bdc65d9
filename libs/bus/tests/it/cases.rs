mod delivery;
mod large;
mod order;
mod publishing;
mod requests;
mod sharing;
mod signals;
mod strangers;
