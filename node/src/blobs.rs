//! stub
use std::{path::Path, sync::Arc};
use assetmesh_protocol::ids::AssetId;
use prometheus_client::registry::Registry;
use crate::actor::Tasks;
#[derive(Debug,Clone,Default)] pub struct Config;
#[derive(Debug,thiserror::Error)] #[error("x")] pub struct StartError;
#[derive(Debug,thiserror::Error)] #[error("x")] pub struct Error;
#[derive(Debug,Clone)] pub struct Blobs; #[derive(Debug)] pub struct Lease; #[derive(Debug)] pub struct Swept;
pub struct StoredBlob{pub id:AssetId,pub size:u64,pub lease:Lease,pub was_present:bool}
pub struct Stats{pub blobs:u64,pub bytes:u64} pub struct Upload;
impl Upload{pub async fn write(&mut self,_b:bytes::Bytes)->Result<(),Error>{Ok(())} pub async fn finish(self)->Result<StoredBlob,Error>{Err(Error)}}
impl Blobs{ pub fn start(_t:&mut Tasks,_d:&Path,_c:Config)->Result<Self,StartError>{Ok(Blobs)} pub async fn remove(&self,_i:AssetId)->Result<(),Error>{Ok(())} pub async fn sweep(&self)->Result<Swept,Error>{Ok(Swept)}
 pub fn set_referenced(&self,_c:Arc<dyn Fn(&AssetId)->Result<bool,String>+Send+Sync>){} pub async fn failed(&self)->String{String::new()} pub fn stats(&self)->Stats{Stats{blobs:0,bytes:0}} pub fn register(&self,_r:&mut Registry){} pub fn begin(&self)->Upload{Upload} pub fn open(&self,_i:&AssetId)->Result<Option<()>,Error>{Ok(None)} }
#[derive(Debug,Clone)] pub struct BlobFinding; pub struct BlobSummary;
impl std::fmt::Display for BlobFinding{fn fmt(&self,_:&mut std::fmt::Formatter<'_>)->std::fmt::Result{Ok(())}}
