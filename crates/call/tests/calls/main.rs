//! Calls in virtual time: scripted parties and a media plane that only answers, around one engine.
#![allow(missing_docs, reason = "a test")]

mod by_hand;
mod challenge;
mod controls;
mod crossings;
mod ending;
mod failure;
mod fork;
mod hold;
mod identity;
mod indication;
mod info_keys;
mod mailbox;
mod mailbox_half;
mod mailbox_random;
mod mailbox_wishes;
mod media;
mod messages;
mod mid_call;
mod network;
mod own_offer;
mod policy;
mod prack;
mod protection;
mod random;
mod random_offers;
mod reach;
mod recording;
mod setup;
mod timer;
mod torture;
mod transfer;
mod transfer_random;
mod update;
mod voicemail;
mod world;
