locals {
  name       = "mobilenet-beam"
  repository = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
}

resource "google_project_service" "apis" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "bigquery.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "dataflow.googleapis.com",
    "iam.googleapis.com",
    "storage.googleapis.com",
  ])
  service            = each.key
  disable_on_destroy = false
}

# Results, the files of jobs under way, and the template. One bucket, so that one role is enough.
resource "google_storage_bucket" "results" {
  name                        = "${var.project}-${local.name}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  lifecycle_rule {
    condition {
      age            = 14
      matches_prefix = ["temp/", "build/"]
    }
    action {
      type = "Delete"
    }
  }
}

resource "google_artifact_registry_repository" "images" {
  repository_id = local.name
  location      = var.region
  format        = "DOCKER"
  depends_on    = [google_project_service.apis]
}

# Workers have no external addresses: Google's services are reached from inside, nothing else is.
resource "google_compute_network" "workers" {
  name                    = local.name
  auto_create_subnetworks = false
  depends_on              = [google_project_service.apis]
}

resource "google_compute_subnetwork" "workers" {
  name                     = local.name
  network                  = google_compute_network.workers.id
  region                   = var.region
  ip_cidr_range            = "10.10.0.0/20"
  private_ip_google_access = true
}

resource "google_compute_firewall" "between_workers" {
  name        = "${local.name}-between-workers"
  network     = google_compute_network.workers.id
  source_tags = ["dataflow"]
  target_tags = ["dataflow"]

  allow {
    protocol = "tcp"
    ports    = ["12345-12346"]
  }
}

resource "google_storage_bucket_object" "template" {
  name         = "template/${local.name}.json"
  bucket       = google_storage_bucket.results.name
  content_type = "application/json"
  content = jsonencode({
    image    = "${local.repository}/launcher:${var.image_tag}"
    sdkInfo  = { language = "PYTHON" }
    metadata = jsondecode(file("${path.module}/../metadata.json"))
    defaultEnvironment = {
      serviceAccountEmail = google_service_account.worker.email
      subnetwork          = "regions/${var.region}/subnetworks/${google_compute_subnetwork.workers.name}"
      ipConfiguration     = "WORKER_IP_PRIVATE"
      stagingLocation     = "gs://${google_storage_bucket.results.name}/temp/staging"
      tempLocation        = "gs://${google_storage_bucket.results.name}/temp"
    }
  })
}
