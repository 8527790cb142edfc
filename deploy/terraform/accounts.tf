# Three identities, each with what it needs and no more; deploy/README.md says why for each role.

resource "google_service_account" "worker" {
  account_id   = "${local.name}-worker"
  display_name = "Workers and launcher of mobilenet-beam"
  depends_on   = [google_project_service.apis]
}

resource "google_service_account" "builder" {
  account_id   = "${local.name}-builder"
  display_name = "Builds the images of mobilenet-beam"
  depends_on   = [google_project_service.apis]
}

resource "google_project_iam_member" "worker" {
  project = var.project
  role    = "roles/dataflow.worker"
  member  = google_service_account.worker.member
}

resource "google_storage_bucket_iam_member" "worker_reads_inputs" {
  bucket = var.input_bucket
  role   = "roles/storage.objectViewer"
  member = google_service_account.worker.member
}

resource "google_storage_bucket_iam_member" "worker_creates_results" {
  bucket = google_storage_bucket.results.name
  role   = "roles/storage.objectCreator"
  member = google_service_account.worker.member
}

resource "google_storage_bucket_iam_member" "worker_reads_results" {
  bucket = google_storage_bucket.results.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.worker.member
}

resource "google_artifact_registry_repository_iam_member" "worker_pulls_images" {
  repository = google_artifact_registry_repository.images.name
  location   = var.region
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.worker.member
}

resource "google_project_iam_member" "submitter" {
  project = var.project
  role    = "roles/dataflow.developer"
  member  = var.submitter
}

resource "google_service_account_iam_member" "submitter_uses_worker" {
  service_account_id = google_service_account.worker.name
  role               = "roles/iam.serviceAccountUser"
  member             = var.submitter
}

resource "google_storage_bucket_iam_member" "submitter_stages_and_reads" {
  bucket = google_storage_bucket.results.name
  role   = "roles/storage.objectUser"
  member = var.submitter
}

resource "google_storage_bucket_iam_member" "submitter_lists_inputs" {
  bucket = var.input_bucket
  role   = "roles/storage.objectViewer"
  member = var.submitter
}

resource "google_artifact_registry_repository_iam_member" "builder_pushes_images" {
  repository = google_artifact_registry_repository.images.name
  location   = var.region
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.builder.member
}

resource "google_storage_bucket_iam_member" "builder_reads_source" {
  bucket = google_storage_bucket.results.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.builder.member
}

resource "google_project_iam_member" "builder_logs" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.builder.member
}
