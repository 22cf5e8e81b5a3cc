//! The default of every setting. A section is taken apart field by field, so that the compiler asks
//! for the default of a new one.

use super::*;

/// All settings, if nobody sets more than what is required.
fn settings() -> Settings {
    Settings::load(sources(&[])).unwrap()
}

#[test]
fn of_the_broker() {
    let BrokerSettings {
        url: _,
        tls,
        namespace,
        publish_channels,
        confirm_timeout,
        reconnect_max,
        retry_delays,
        lock_heartbeat,
        dead_letters,
        dead_letters_max_days,
        reply_to_prefixes,
    } = settings().broker;
    assert_eq!((namespace.as_str(), publish_channels), ("longshore", 4));
    assert_eq!((confirm_timeout.as_secs(), reconnect_max.as_secs()), (10, 5));
    assert_eq!(retry_delays, [5, 30, 120].map(Duration::from_secs));
    assert_eq!((lock_heartbeat.as_secs(), tls), (3, TlsFiles::default()));
    assert_eq!(dead_letters, DeadLetterBounds { messages: 10_000, bytes: 256 << 20 });
    assert_eq!(dead_letters_max_days, None);
    assert!(reply_to_prefixes.is_empty());
}

#[test]
fn of_the_store() {
    let StoreSettings {
        endpoint: _,
        access_key: _,
        secret_key: _,
        ssl,
        tls,
        region,
        code_bucket,
        inputs_bucket,
        results_bucket,
        logs_bucket,
        state_bucket,
        max_attempts,
        timeout,
    } = settings().store;
    assert_eq!((ssl, tls, region.as_str()), (false, TlsFiles::default(), "us-east-1"));
    assert_eq!((code_bucket.as_str(), logs_bucket.as_str()), ("custom-bots", "bot-logs"));
    assert_eq!((inputs_bucket.as_str(), results_bucket.as_str()), ("inputs", "test-results"));
    assert_eq!(state_bucket, "longshore-state");
    assert_eq!((max_attempts, timeout.as_secs()), (5, 60));
}

#[test]
fn of_packages() {
    let PackSettings { cache_dir, cache_max_bytes, network, timeout, run_state_dir } =
        settings().pack;
    let own = format!("longshore-packages-{}", nix::unistd::geteuid());
    assert_eq!(cache_dir, std::env::temp_dir().join(own));
    let own = format!("longshore-state-{}", nix::unistd::geteuid());
    assert_eq!(run_state_dir, std::env::temp_dir().join(own));
    assert_eq!((cache_max_bytes, network), (4096 << 20, Network::Bridge));
    assert_eq!(timeout.as_secs(), 900);
    let with_home = Settings::load(sources(&[("HOME", "/home/me")])).unwrap();
    let expected = std::path::Path::new("/home/me/.cache/longshore/packages");
    assert_eq!(with_home.pack.cache_dir, expected);
    let expected = std::path::Path::new("/home/me/.local/state/longshore");
    assert_eq!(with_home.pack.run_state_dir, expected);
}

#[test]
fn of_containers() {
    let RunnerSettings {
        docker_host,
        temp_dir,
        limits,
        profile,
        network,
        allowed_networks,
        runtimes,
        pull_timeout,
        timeout,
        max_timeout,
        max_attempts,
        stop_timeout,
        min_health_interval,
        artifacts,
        state_max_kb,
        max_inputs,
        max_input_bytes,
        max_concurrent_starts,
        max_archive_bytes,
        max_extracted_bytes,
        max_entries,
        max_ratio,
        max_depth,
        max_name_bytes,
        unpack_timeout,
        code_cache,
        warm,
        max_result_bytes,
        sweep,
        engine_log,
    } = settings().runner;
    assert_eq!((docker_host, temp_dir), (None, PathBuf::from("/tmp/runtime")));
    assert_eq!(limits, Limits { memory_mb: 512, cpu_shares: 512, cpus: None, pids: 256 });
    let expected = Profile {
        users: Users::Range { first: 65_536, last: 99_999 },
        seccomp: None,
        read_only_root: true,
        read_only_code: true,
        tmp_mb: 64,
        open_files: 4096,
        max_file_bytes: 128 << 20,
        init: true,
        oci_runtime: None,
    };
    assert_eq!(profile, expected);
    assert_eq!(network, Network::Host);
    assert_eq!(allowed_networks, [Network::Host, Network::Bridge, Network::None]);
    assert_eq!(runtimes, Runtimes::default());
    assert_eq!((pull_timeout.as_secs(), timeout.as_secs()), (600, 3600));
    assert_eq!((max_timeout.as_secs(), stop_timeout.as_secs()), (86_400, 30));
    assert_eq!((min_health_interval.as_secs(), unpack_timeout.as_secs()), (5, 120));
    assert_eq!((artifacts.max_mb, artifacts.max_files, state_max_kb), (32, 200, 256));
    assert_eq!((max_inputs, max_input_bytes), (16, 1 << 30));
    assert_eq!((max_attempts, max_concurrent_starts), (3, 4));
    assert_eq!((max_archive_bytes, max_extracted_bytes), (256 << 20, 1 << 30));
    assert_eq!((max_entries, max_ratio), (50_000, 200));
    assert_eq!((max_depth, max_name_bytes), (64, 1024));
    let compile_timeout = Duration::from_secs(120);
    assert_eq!(code_cache, CodeCacheSettings { dir: None, max_bytes: 2 << 30, compile_timeout });
    assert_eq!(warm, WarmSettings { containers: 2, max_age: Duration::from_hours(1) });
    let SweepBounds { max_configs, max_parallel, max_bytes, max_result_bytes: most, output_bytes } =
        sweep;
    assert_eq!((max_configs, max_parallel, max_bytes), (100_000, 64, 64 << 20));
    assert_eq!((most, output_bytes), (64 << 10, 4 << 10));
    assert_eq!((max_result_bytes, engine_log), (64 << 20, EngineLog { file_mb: 64, files: 2 }));
}

#[test]
fn of_the_worker() {
    let WorkerSettings {
        name,
        max_segments,
        segment_grace,
        handover_grace,
        max_terminating,
        max_long_running,
        max_message_bytes,
        drain_grace,
        publish_retry_max,
        record_retention_days,
        record_retention_keys,
        result_retention_days,
        artifact_retention_days,
        result_retention_keys,
    } = settings().worker;
    assert_eq!((name.as_str(), max_segments), ("host-1", 1000));
    assert_eq!((segment_grace.as_secs(), handover_grace.as_secs()), (15, 120));
    assert_eq!((max_terminating, max_long_running), (4, 50));
    assert_eq!(max_message_bytes, 2 << 20);
    assert_eq!((drain_grace.as_secs(), publish_retry_max.as_secs()), (60, 300));
    assert_eq!((record_retention_days, record_retention_keys), (None, 1_000_000));
    assert_eq!((result_retention_days, artifact_retention_days), (None, None));
    assert_eq!(result_retention_keys, 1_000_000);
}

#[test]
fn of_logs() {
    let LogSettings {
        interval,
        max_chunk_bytes,
        max_buffer_bytes,
        max_memory_bytes,
        spool_dir,
        max_container_spool_bytes,
        max_spool_bytes,
        retention_days,
        retention_keys,
        max_series,
        max_series_points,
        series_interval,
        max_output_bytes,
        tail_bytes,
    } = settings().logs;
    assert_eq!((max_series, max_series_points, series_interval.as_secs()), (32, 2000, 30));
    assert_eq!((interval.as_secs(), max_chunk_bytes), (30, 1 << 20));
    assert_eq!((max_buffer_bytes, max_memory_bytes), (2 << 20, 16 << 20));
    assert_eq!(spool_dir, PathBuf::from("/tmp/longshore-spool"));
    assert_eq!((max_container_spool_bytes, max_spool_bytes), (256 << 20, 2 << 30));
    assert_eq!((retention_days, retention_keys), (None, 1_000_000));
    assert_eq!((max_output_bytes, tail_bytes), (64 << 20, 64 << 10));
}

#[test]
fn of_health_and_the_workers_own_log() {
    let HttpSettings { listen, token, allowed_hosts } = settings().http;
    assert_eq!((listen.to_string().as_str(), token), ("127.0.0.1:8080", None));
    assert!(allowed_hosts.is_empty());
    let TelemetrySettings { level, format } = settings().telemetry;
    assert_eq!((level.as_str(), format), ("info", LogFormat::Auto));
    let TracesSettings { endpoint, service } = settings().traces;
    assert_eq!((endpoint, service.as_str()), (None, "longshore"));
}
