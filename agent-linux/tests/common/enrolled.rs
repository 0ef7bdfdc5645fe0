//! A configuration file as `fwcast agent enroll` would write it, and the agent's binary run with it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses some of it")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use ed25519_dalek::{Signer, SigningKey};
use group_oscore::encode_ccs;
use provisioning::{
    AgentFile, Distributor, Hex, KeyMap, LinuxSettings, Manager, Name, Provisioning, Secret, yaml,
};
use update_core::key_set::KeySet;

use super::{AGENT, Device};

fn ccs(seed: u8) -> Hex {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let mut bytes = [0; 64];
    let length = encode_ccs(key.verifying_key().as_bytes(), &mut bytes).unwrap();
    Hex::from(&bytes[..length])
}

fn key_set(root: &SigningKey) -> Hex {
    let image = SigningKey::from_bytes(&[0xa3; 32]);
    let set = KeySet::new(1, &[image.verifying_key().to_bytes()]).unwrap();
    Hex(set.attach(root.sign(&set.to_be_signed()).to_bytes()))
}

fn provisioning(coap_group: &str) -> Provisioning {
    let root = SigningKey::from_bytes(&[0xa2; 32]);
    Provisioning {
        version: 1,
        name: Name::new("lamp-1").unwrap(),
        vendor: "fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe".parse().unwrap(),
        class: "1492af14-2569-5e48-bf42-9b2d51f2ab45".parse().unwrap(),
        group: Name::new("hall").unwrap(),
        coap_group: coap_group.parse().unwrap(),
        block_size: 1024,
        key: KeyMap {
            ms: Secret::new(vec![0xb1; 16]),
            hkdf: 5,
            alg: 1,
            salt: Secret::new(vec![0xb2; 8]),
            context_id: Hex::from([1, 2, 3, 4]),
            group_sender_id: Hex::from([1]),
            cred_fmt: 14,
            gp_enc_alg: 1,
            sign_alg: -8,
            sign_params: vec![vec![1], vec![1, 6]],
            ecdh_alg: -27,
            ecdh_params: vec![vec![1], vec![1, 4]],
        },
        num: 0,
        private_key: Secret::new(vec![0xa1; 32]),
        cred: ccs(0xa1),
        kdc_cred: ccs(0xa4),
        distributor: Distributor {
            sender_id: Hex::from([0]),
            cred: ccs(0xa5),
            address: "127.0.0.1:47000".parse().unwrap(),
        },
        root_key: Hex::from(root.verifying_key().to_bytes()),
        key_set: key_set(&root),
        manager: Manager {
            address: None,
            ms: Secret::new(vec![0xb3; 16]),
            salt: Secret::new(vec![0xb4; 8]),
            alg: 1,
            sender_id: Hex::from([1, 2, 3, 4, 5, 6]),
            recipient_id: Hex::default(),
        },
    }
}

impl Device {
    /// What an agent of this group is given.
    pub fn file(&self, coap_group: &str) -> AgentFile {
        AgentFile {
            provisioning: provisioning(coap_group),
            linux: LinuxSettings {
                interface: "lo".into(),
                listen_port: None,
                state_directory: self.state.to_str().unwrap().into(),
                activate_command: None,
                health_command: None,
                health_deadline_seconds: 60,
                health_interval_seconds: 2,
            },
        }
    }

    /// Writes it down.
    pub fn enroll(&self, file: &AgentFile) -> PathBuf {
        self.write_config(&yaml::to_string(file).unwrap())
    }

    pub fn write_config(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("agent.yaml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// The agent's command line with the configuration that was written.
    pub fn agent(&self) -> Command {
        let mut command = Command::new(AGENT);
        command.arg("--config").arg(self.folder.path().join("agent.yaml"));
        command
    }
}

/// Runs to the end.
pub fn output(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = [stdout, stderr].concat();
    (status.code().unwrap(), String::from_utf8(text).unwrap())
}
