curl -X POST "http://<api-url>/asset_registry" \
     -H "Content-Type: application/json" \
     -d '{
           "asset_registry_name": "ResNet Models registry",
           "asset_registry_metadata": {
             "framework": "PyTorch",
             "version": "1.0",
             "author": "OpenAI",
             "license": "Apache-2.0"
           },
           "asset_registry_tags": ["image-classification", "deep-learning", "pytorch"],
           "asset_registry_public_url": "https://example.com/models/resnet-models-registry"
         }'

curl -X GET "http://<api-url>/asset_registry/123e4567-e89b-12d3-a456-426614174000" \
     -H "Content-Type: application/json"

curl -X PUT "http://<api-url>/asset_registry/123e4567-e89b-12d3-a456-426614174000" \
     -H "Content-Type: application/json" \
     -d '{
           "asset_registry_metadata": {
             "framework": "TensorFlow" models,
             "version": "2.0"
           },
           "asset_registry_tags": ["neural-network", "tensorflow"]
         }'

curl -X DELETE "http://<api-url>/asset_registry/123e4567-e89b-12d3-a456-426614174000" \
     -H "Content-Type: application/json"

curl -X POST "http://<api-url>/asset_registries" \
     -H "Content-Type: application/json" \
     -d '{
           "$and": [
             { "asset_registry_tags": { "$in": ["deep-learning"] } },
             { "asset_registry_metadata.framework": "PyTorch" }
           ]
         }'

curl -X GET "http://<api-url>/check_health/tes-123e4567-e89b-12d3-a456-426614174000" \
     -H "Content-Type: application/json"
