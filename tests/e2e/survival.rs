//! `kill -9` at any point loses nothing that was acknowledged.

use crate::show::cast;
use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::contract::{room_body, stream_key_path};
use flyloft_tests::push::Push;
use flyloft_tests::server::Server;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

fn crash(server: &mut Server) -> Result<()> {
    server.kill()?;
    server.restart()
}

#[test]
fn a_room_survives_a_crash_after_each_step_of_its_life() -> Result<()> {
    let clip = Clip::h264()?;
    let mut server = Server::start()?;
    let credentials = server.credentials()?;
    let (mut member, room) = cast(&server, "ada")?;
    crash(&mut server)?;
    ensure!(server.credentials()? == credentials, "the credentials changed");
    ensure!(server.room_state(&room)? == "SCHEDULED" && server.key_state(&member)? == "INACTIVE");

    let rotated = server.api()?.post(&format!("{}/rotate", stream_key_path(&member.id)), &json!({}))?.success()?;
    crash(&mut server)?;
    member.key = rotated["streamKey"].as_str().with_context(|| format!("no streamKey in {rotated}"))?.to_owned();
    ensure!(server.stream_key(&member.id)?["streamKey"] == member.key.as_str(), "the rotated key was lost");

    let push = Push::looped(&clip, &server.push_url(&member))?;
    server.wait_key_state(&member, "ACTIVE")?;
    crash(&mut server)?;
    drop(push);
    ensure!(server.key_state(&member)? == "INACTIVE", "nobody publishes after a crash");

    let push = Push::looped(&clip, &server.push_url(&member))?;
    server.go_live(&member, &room)?;
    crash(&mut server)?;
    drop(push);
    ensure!(server.room_state(&room)? == "LIVE_INACTIVE", "it is {}", server.room_state(&room)?);
    ensure!(server.key_state(&member)? == "INACTIVE_LIVE", "it is {}", server.key_state(&member)?);

    let push = Push::looped(&clip, &server.push_url(&member))?;
    server.wait_room_state(&room, "LIVE")?;
    server.end_room(&room, true)?.success()?;
    crash(&mut server)?;
    drop(push);
    ensure!(server.room_state(&room)? == "ENDED");
    let key = server.stream_key(&member.id)?;
    ensure!(key["streamKeyState"] == "INACTIVE" && key["streamKey"] != member.key.as_str(), "{key}");

    let events = server.events()?;
    let order: Vec<_> = events.iter().map(|event| event["seq"].as_u64()).collect();
    ensure!(order.is_sorted() && !order.contains(&None), "the events are out of order: {order:?}");
    Ok(())
}

#[test]
fn every_acknowledged_room_is_there_after_a_crash_in_the_middle_of_many() -> Result<()> {
    let mut server = Server::start()?;
    server.member("ada")?;
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    for round in 0..4 {
        let count = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (api, acknowledged, count) = (server.api()?, Arc::clone(&acknowledged), Arc::clone(&count));
                Ok(std::thread::spawn(move || {
                    // Ends with the first request that fails: the server has been killed.
                    for index in 0.. {
                        let title = format!("{round}-{writer}-{index}");
                        let answer = api.post("/v1/video-rooms", &room_body("ada", &title)).and_then(|answer| answer.success());
                        let Ok(room) = answer else { return };
                        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push((room["id"].to_string(), title));
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }))
            })
            .collect::<Result<_>>()?;
        flyloft_tests::wait_until("some rooms were made", || count.load(Ordering::Relaxed) > 20 * (round + 1))?;
        server.kill()?;
        for writer in writers {
            writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))?;
        }
        server.restart()?;
    }
    let acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ensure!(acknowledged.len() > 100, "only {} rooms were acknowledged", acknowledged.len());
    for (id, title) in &acknowledged {
        let room = server.room_json(id.trim_matches('"')).with_context(|| format!("the acknowledged room {title}"))?;
        ensure!(room["title"] == title.as_str(), "{room}");
    }
    Ok(())
}
