//! The page in a real Chromium.

use std::path::Path;

use base64::Engine as _;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use lapin::BasicProperties;
use longshore::storage::{Bucket, Condition, ObjectStore as _};
use serde_json::json;

use super::Dashboard;
use longshore_testing::browser::Browser;
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::scene::Scene;

/// A screen as on a desk, and one as in a hand.
const WIDE: (u32, u32) = (1440, 900);
const NARROW: (u32, u32) = (390, 844);

/// What WebDriver calls these keys.
const ENTER: char = '\u{e007}';
const ESCAPE: char = '\u{e00c}';
const DOWN: char = '\u{e015}';

/// Markup in a stranger's text: it must stay text.
const HOSTILE: &str = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>";

/// Keeps a picture where `make book` and people find it.
async fn picture(browser: &Browser, name: &str) {
    let png = base64::engine::general_purpose::STANDARD.decode(browser.picture().await).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.png")), png).unwrap();
}

/// In each width and colour scheme nothing is wider than the screen. Pictures are taken of all.
async fn in_every_look(browser: &Browser, name: &str) {
    for ((width, height), size) in [(NARROW, "narrow"), (WIDE, "wide")] {
        for is_dark in [true, false] {
            browser.look_like(width, height, is_dark).await;
            browser.until("document.documentElement.scrollWidth <= window.innerWidth").await;
            let colour = if is_dark { "dark" } else { "light" };
            let sum = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g)\
                       .slice(0, 3).reduce((sum, part) => sum + Number(part), 0)";
            let is_so = if is_dark { format!("{sum} < 200") } else { format!("{sum} > 600") };
            browser.until(&is_so).await;
            picture(browser, &format!("{name}-{size}-{colour}")).await;
        }
    }
}

/// The console has no error, and no request went elsewhere.
async fn is_clean(browser: &Browser, root: &str) {
    let console = browser.console().await;
    assert!(console.is_empty(), "{console:#?}");
    let requests = browser.requests().await;
    assert!(requests.len() > 10, "{requests:?}");
    let is_ours = |url: &String| url.starts_with(root) || url.starts_with("data:");
    let elsewhere: Vec<_> = requests.iter().filter(|url| !is_ours(url)).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

#[tokio::test]
async fn every_view_shows_a_real_fleet_and_a_stop_and_a_replay_work() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let dashboard = Dashboard::start(&scene).await;
    let fine = "def main(id, config):\n    print('hello')\n    return {'sharpe': 1.5}";
    scene.run(&scene.job("fine", &PYTHON_BACKTEST, fine).await).await.expect("succeeded");
    let bad = format!("def main(id, config): raise ValueError({HOSTILE:?})");
    scene.run(&scene.job("bad", &PYTHON_BACKTEST, &bad).await).await.expect("failed");
    let noisy = format!("print({HOSTILE:?}, flush=True)\n{PYTHON_TICKER}");
    let bot = scene.job("bot", &PYTHON_BOT, &noisy).await;
    scene.start(&bot).await;
    let id = scene.id("bot");
    scene.events.wait_state(&id, "running").await;
    let refused = json!({ "id": scene.id("refused"), "runtime": HOSTILE }).to_string();
    scene.publish("start.terminating", refused.as_bytes(), BasicProperties::default()).await;
    dashboard.until("/dead", |dead| dead["waiting"] == 1).await;

    let browser = Browser::start().await;
    browser.look_like(WIDE.0, WIDE.1, false).await;
    browser.open(&dashboard.url).await;
    let name = format!("{}-worker-0", scene.namespace);
    browser.until(&format!("document.body.innerText.includes({name:?})")).await;
    browser.until("document.querySelectorAll('.count').length === 6").await;
    // The token is in no address, and so in no history.
    browser.until("!location.href.includes('token')").await;
    in_every_look(&browser, "fleet").await;

    // The keyboard alone leads to the job: search, down, open.
    browser.run("document.querySelector('nav a[href=\"#/jobs\"]').click()").await;
    browser.until("document.querySelectorAll('.list .row').length === 3").await;
    in_every_look(&browser, "jobs").await;
    browser.press("/").await;
    browser.until("document.activeElement.id === 'search'").await;
    browser.press("bot").await;
    browser.until("document.querySelectorAll('.list .row').length === 1").await;
    browser.press(&DOWN.to_string()).await;
    browser.press(&ENTER.to_string()).await;
    browser.until(&format!("location.hash === '#/job/{id}'")).await;
    browser
        .until("document.querySelector('#said').innerText.includes('runs it or prepares it')")
        .await;
    browser.until("document.querySelector('.log').innerText.includes('tick 20')").await;
    browser.until(&format!("document.querySelector('.log').innerText.includes({HOSTILE:?})")).await;
    in_every_look(&browser, "job").await;

    // A stop asks once more.
    browser.click("#stop").await;
    browser.until("document.querySelector('#stop').innerText.includes('Really')").await;
    browser.click("#stop").await;
    browser.until("document.querySelector('#word').innerText.includes('stopped')").await;
    browser.until("document.querySelector('#log-state').innerText.includes('has ended')").await;
    scene.events.result_of(&id).await.expect_message(&["stopped on the dashboard"]);
    browser.press(&ESCAPE.to_string()).await;
    browser.until("location.hash === '#/jobs'").await;

    // Results and failures, with strangers' texts as text.
    browser.run(&format!("location.hash = '#/job/{}'", scene.id("fine"))).await;
    browser.until("document.querySelector('#result')?.innerText.includes('\"sharpe\": 1.5')").await;
    browser.until("document.querySelector('.log').innerText.includes('hello')").await;
    browser.run(&format!("location.hash = '#/job/{}'", scene.id("bad"))).await;
    browser
        .until(&format!("document.querySelector('#said').innerText.includes({HOSTILE:?})"))
        .await;

    // The dead letter: look, replay (it comes back, for it is still wrong), remove.
    browser.run("location.hash = '#/dead'").await;
    browser.until("document.querySelectorAll('.letters li').length === 1").await;
    browser.click(".letters button.plain").await;
    browser.until("document.querySelector('.letters pre')?.innerText.includes('onerror')").await;
    in_every_look(&browser, "dead").await;
    let replay = ".letters li button:nth-of-type(2)";
    browser.click(replay).await;
    browser.click(replay).await;
    browser.until("document.querySelector('#done').innerText.includes('1 replayed')").await;
    dashboard.until("/dead", |dead| dead["waiting"] == 1).await;
    // It is on the page again by itself.
    browser.until("document.querySelectorAll('.letters li').length === 1").await;
    browser.click(".letters li button.danger").await;
    browser.click(".letters li button.danger").await;
    browser.until("document.querySelector('#done').innerText.includes('1 removed')").await;
    browser.until("document.querySelectorAll('.letters li').length === 0").await;

    assert_ne!(browser.run("return document.title").await, "owned");
    let made = "return document.querySelectorAll('main img, main b b, .log b > *').length";
    assert_eq!(browser.run(made).await, 0);
    is_clean(&browser, &dashboard.root).await;
    browser.close().await;
    scene.finish([worker]).await;
}

#[tokio::test]
async fn an_error_is_shown_and_a_wrong_token_is_asked_for_again() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let dashboard = Dashboard::start(&scene).await;
    let browser = Browser::start().await;
    browser.look_like(NARROW.0, NARROW.1, true).await;
    browser.open(&format!("{}/#token=wrong", dashboard.root)).await;
    browser.until("document.querySelector('#token')").await;
    picture(&browser, "token").await;
    let token = &dashboard.token;
    browser.run(&format!("document.querySelector('#token').value = {token:?}")).await;
    browser.click(".token button").await;
    browser.until("document.querySelectorAll('.count').length === 6").await;
    browser.until("document.querySelector('#problem').hidden").await;
    browser.run("location.hash = '#/job/..%2fnobody'").await;
    browser.until("document.querySelector('#problem').innerText.includes('no id of a job')").await;
    // A page of another site may not show this one in a frame of its own.
    browser.open("data:text/html,<iframe></iframe>").await;
    browser.close().await;
    scene.finish([worker]).await;
}

/// Says how far it is, measures, and keeps a state.
const MEASURING: &str = "import longshore, time
def main(id, config):
    longshore.state['n'] = 1
    longshore.state.save()
    longshore.progress(25, 'warm')
    number = 0
    while True:
        longshore.metric('<b>' if number < 0 else 'equity', 100 + number % 7)
        longshore.metric('alone', 1) if number == 0 else None
        number += 1
        time.sleep(0.1)
";

#[tokio::test]
async fn a_jobs_page_shows_its_progress_its_state_and_plots_of_its_series() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("SERIES_INTERVAL_SECONDS", "1")]).await;
    let dashboard = Dashboard::start(&scene).await;
    let mut bot = scene.job("measures", &PYTHON_BOT, MEASURING).await;
    (bot["state"], bot["log_interval_seconds"]) = (json!({}), json!(1));
    scene.start(&bot).await;
    let id = scene.id("measures");
    let path = format!("/jobs/{id}");
    dashboard.until(&path, |story| story["series"].as_array().map(Vec::len) == Some(3)).await;
    let browser = Browser::start().await;
    browser.look_like(WIDE.0, WIDE.1, false).await;
    browser.open(&dashboard.url).await;
    browser.until("document.querySelectorAll('.count').length === 6").await;
    browser.run(&format!("location.hash = '#/job/{id}'")).await;
    browser.until("document.querySelector('#progress')?.innerText.includes('25 %: warm')").await;
    browser.until("document.querySelector('.facts')?.innerText.includes('7 bytes')").await;
    browser.until("document.querySelectorAll('#series .plot polyline').length === 3").await;
    let points = "document.querySelector('#series figure:nth-child(2) polyline')\
                  .getAttribute('points').split(' ').length";
    browser.until(&format!("{points} > 20")).await;
    in_every_look(&browser, "series").await;
    let so_far = browser.run(&format!("return {points}")).await.as_u64().unwrap();
    // It grows by itself.
    browser.until(&format!("{points} > {so_far} + 20")).await;
    scene.stop(&json!({ "id": id })).await;
    browser.until("document.querySelector('#word').innerText.includes('stopped')").await;
    browser.until("document.querySelector('#progress').hidden").await;
    browser.until("document.querySelectorAll('#series .plot polyline').length === 3").await;
    is_clean(&browser, &dashboard.root).await;
    browser.close().await;
    scene.finish([worker]).await;
}

/// How many jobs and bots a list must bear.
const MANY: usize = 10_000;
const BOTS: usize = 500;

/// How many records are written at a time.
const AT_ONCE: usize = 32;

#[tokio::test]
async fn ten_thousand_jobs_are_listed_and_searched_without_lag() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let record = |number: usize| {
        let is_bot = number < BOTS;
        let mut record = json!({
            "id": format!("{}-many-{number}", scene.namespace), "run_id": format!("r{number}"),
            "segment": 900, "epoch": 1, "attempt": 1, "message": { "body": "{}" },
            "state": if is_bot { "active" } else { "finished" },
            "claimed_at": format!("2026-03-{:02}T{:02}:{:02}:00Z", 1 + number / 1440, number / 60 % 24, number % 60),
        });
        if !is_bot {
            let path =
                format!("{}/schemas/examples/result.failed.json", env!("CARGO_MANIFEST_DIR"));
            record["result"] = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        }
        (format!("{}/jobs/{}-many-{number}.json", scene.namespace, scene.namespace), record)
    };
    stream::iter(0..MANY)
        .map(|number| {
            let (key, record) = record(number);
            let store = &scene.store;
            async move {
                let body = Bytes::from(record.to_string());
                let kind = "application/json";
                store.put(Bucket::State, &key, body, kind, Condition::None).await.unwrap();
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<()>>()
        .await;

    let dashboard = Dashboard::start(&scene).await;
    dashboard.until("/jobs?limit=1", |jobs| jobs["known"] == MANY).await;
    let (_, bots) = dashboard.get("/jobs?state=active&limit=1").await;
    assert_eq!(bots["matching"], BOTS);
    let browser = Browser::start().await;
    browser.look_like(WIDE.0, WIDE.1, false).await;
    browser.open(&dashboard.url).await;
    browser.until("document.querySelectorAll('.count').length === 6").await;
    browser.run("location.hash = '#/jobs'").await;
    browser
        .until(&format!(
            "document.querySelector('.tools .quiet').innerText.startsWith('{MANY} of {MANY}')"
        ))
        .await;
    // Only what can be seen is in the page, wherever the list is.
    browser.run("document.querySelector('.list').scrollTop = 200000").await;
    browser.until("document.querySelectorAll('.list .row').length < 60").await;
    let number = "Number(document.querySelector('.list .row').getAttribute('aria-posinset'))";
    browser.until(&format!("{number} > 4000")).await;
    // Drawing after each key and each scroll keeps well below what people notice.
    let slowest = "const search = document.querySelector('#search'); let slowest = 0; \
        for (const text of ['m', 'ma', 'many-99', '', 'many-1']) { \
          const begun = performance.now(); search.value = text; \
          search.dispatchEvent(new Event('input')); document.querySelector('.list').offsetHeight; \
          slowest = Math.max(slowest, performance.now() - begun); } return slowest";
    let slowest = browser.run(slowest).await.as_f64().unwrap();
    println!("the slowest search took {slowest} ms");
    assert!(slowest < 2_000.0, "a search took {slowest} ms");
    browser
        .run(
            "const f = document.querySelector('#filter'); f.value = 'active'; \
        document.querySelector('#search').value = ''; f.dispatchEvent(new Event('change'))",
        )
        .await;
    browser
        .until(&format!(
            "document.querySelector('.tools .quiet').innerText.startsWith('{BOTS} of {MANY}')"
        ))
        .await;
    browser.until("document.querySelector('.list').scrollTop === 0").await;
    picture(&browser, "many-wide-light").await;
    is_clean(&browser, &dashboard.root).await;
    browser.close().await;
    scene.finish([worker]).await;
}
