//! Keep-alives are sent while the application blocks its threads.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::support::cluster::{client_of, log_cluster, settings};
use crate::support::within;
use zraft_client::{ClientBuilder, SessionId};
use zraft_test_server::{AppendLog, ClusterHandle, TestCluster};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A cluster on its own thread. Its sessions expire after 1 s unless they are kept alive.
struct ClusterThread {
    handle: ClusterHandle,
    settings: ClientBuilder,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ClusterThread {
    fn start() -> Self {
        let (started, start) = std::sync::mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let cluster = TestCluster::builder()
                    .app(AppendLog::new())
                    .session_timeout(ms(1000))
                    .expiry_tick(ms(20))
                    .start()
                    .await
                    .unwrap();
                let settings =
                    settings(&cluster).session_timeout(ms(1000)).keep_alive_interval(ms(100));
                started.send((cluster.handle(), settings)).unwrap();
                let _ = stopped.await;
                cluster.shutdown().await;
            });
        });
        let (handle, settings) = start.recv().unwrap();
        Self { handle, settings, stop: Some(stop), thread: Some(thread) }
    }

    fn has_session(&self, id: &SessionId) -> bool {
        self.handle.inspect(|engine| engine.session(id).is_some())
    }
}

impl Drop for ClusterThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[tokio::test]
async fn client_with_its_own_thread_is_kept_alive_while_the_application_blocks_its_only_thread() {
    let cluster = ClusterThread::start();
    let (client, _) = client_of(cluster.settings.clone().own_thread(true)).await;
    let session = client.session_id().unwrap();
    let answer = client.try_submit_command("before the application blocks").unwrap();
    std::thread::sleep(ms(2500));
    assert!(cluster.has_session(&session), "kept alive for longer than its timeout");
    within(answer).await.unwrap();
    assert_eq!(client.session_id(), Some(session));
    within(client.disconnect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_as_a_task_is_kept_alive_while_another_task_blocks_a_thread() {
    let cluster = ClusterThread::start();
    let (client, _) = client_of(cluster.settings.clone()).await;
    let session = client.session_id().unwrap();
    within(tokio::spawn(async { std::thread::sleep(ms(2500)) })).await.unwrap();
    assert!(cluster.has_session(&session), "kept alive for longer than its timeout");
    within(client.disconnect()).await;
}

#[test]
fn client_with_its_own_thread_needs_no_runtime() {
    let cluster = ClusterThread::start();
    let client = cluster.settings.clone().own_thread(true).build().unwrap();
    let mut connect = pin!(client.connect());
    let mut context = Context::from_waker(Waker::noop());
    // No executor runs here, so the test polls the future itself.
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    while connect.as_mut().poll(&mut context).is_pending() {
        assert!(std::time::Instant::now() < limit);
        std::thread::yield_now();
    }
    assert_eq!(cluster.handle.sessions().len(), 1);
}

#[tokio::test]
async fn ping_measures_the_round_trip() {
    let cluster = log_cluster(1).await;
    let (client, _) = client_of(settings(&cluster)).await;
    let time = within(client.ping()).await.unwrap();
    assert!(time > Duration::ZERO);
}
