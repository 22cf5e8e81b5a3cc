//! Hostile start messages, from the queue to the rejection.

use lapin::BasicProperties;
use longshore::storage::Bucket;

use super::witness::{Before, rejection};
use longshore_testing::hostile::messages::{self, Message};
use longshore_testing::scene::Scene;

#[tokio::test]
async fn every_hostile_message_is_rejected_once_for_its_reason_and_harms_nothing() {
    let scene = Scene::new().await;
    let before = Before::plant(&scene);
    let mut worker = scene.worker().await;
    let cases = messages::all(&scene.namespace);
    assert!(cases.len() >= 60);
    for Message { name, body, .. } in &cases {
        let properties = BasicProperties::default().with_message_id((*name).into());
        scene.publish("start.terminating", body, properties).await;
    }
    let mut wrong = Vec::new();
    for Message { name, body, reason, has_id, .. } in &cases {
        let result = rejection(&scene, name, body).await;
        let data = result.expect("rejected");
        let said = data["message"].as_str().unwrap();
        let is_told = said.contains(reason) && said.len() < 8000;
        if !is_told || result.subject().is_some() != *has_id || data["attempt"] != 0 {
            wrong.push(format!("{name}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for letter in scene.dead_letters(cases.len()).await {
        let name = letter.message_id.as_deref().unwrap();
        let case = cases.iter().find(|case| case.name == name).unwrap();
        assert!(letter.body == case.body, "{name}: the body was touched");
        assert!(letter.reason.len() <= 1024, "{name}");
    }
    assert_eq!(scene.events.all_results().len(), cases.len());
    assert_eq!(scene.objects(Bucket::Results, "..").await, [""; 0]);
    before.nothing_has_happened(&scene, &mut worker).await;
    scene.finish([worker]).await;
}
