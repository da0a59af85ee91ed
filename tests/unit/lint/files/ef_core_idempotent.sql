IF OBJECT_ID(N'[__EFMigrationsHistory]') IS NULL
BEGIN
    CREATE TABLE [__EFMigrationsHistory] (
        [MigrationId] nvarchar(150) NOT NULL,
        [ProductVersion] nvarchar(32) NOT NULL,
        CONSTRAINT [PK___EFMigrationsHistory] PRIMARY KEY ([MigrationId])
    );
END;
GO

BEGIN TRANSACTION;
IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20260211090000_Baskets'
)
BEGIN
    CREATE TABLE [basket].[BasketItem] (
        [Id] int NOT NULL IDENTITY,
        [UnitPrice] decimal(18,2) NOT NULL,
        [CatalogItemId] int NOT NULL,
        [BasketId] uniqueidentifier NOT NULL DEFAULT (NEWSEQUENTIALID()),
        [Total] AS [UnitPrice] * [Quantity] PERSISTED,
        [RowVersion] rowversion NOT NULL,
        CONSTRAINT [PK_BasketItem] PRIMARY KEY ([Id]),
        CONSTRAINT [FK_BasketItem_Basket_BasketId] FOREIGN KEY ([BasketId]) REFERENCES [basket].[Basket] ([Id]) ON DELETE CASCADE
    );
    DECLARE @description AS sql_variant;
    SET @description = N'What a customer''s basket holds; see also: BEGIN, END, GO';
    EXEC sp_addextendedproperty 'MS_Description', @description, 'SCHEMA', N'basket', 'TABLE', N'BasketItem';
END;

IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20260211090000_Baskets'
)
BEGIN
    DECLARE @var0 nvarchar(max);
    SELECT @var0 = QUOTENAME([d].[name])
    FROM [sys].[default_constraints] [d]
    INNER JOIN [sys].[columns] [c] ON [d].[parent_column_id] = [c].[column_id] AND [d].[parent_object_id] = [c].[object_id]
    WHERE ([d].[parent_object_id] = OBJECT_ID(N'[Catalog]') AND [c].[name] = N'Description');
    IF @var0 IS NOT NULL EXEC(N'ALTER TABLE [Catalog] DROP CONSTRAINT ' + @var0 + ';');
    EXEC(N'UPDATE [Catalog] SET [Description] = N'''' WHERE [Description] IS NULL');
    ALTER TABLE [Catalog] ALTER COLUMN [Description] nvarchar(450) NOT NULL;
    ALTER TABLE [Catalog] ADD DEFAULT N'' FOR [Description];
END;

IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20260211090000_Baskets'
)
BEGIN
    EXEC sp_rename N'[Catalog].[CatalogBrandId]', N'BrandId', 'COLUMN';
    EXEC sp_rename N'[Catalog].[IX_Catalog_CatalogBrandId]', N'IX_Catalog_BrandId', 'INDEX';
END;

IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20260211090000_Baskets'
)
BEGIN
    IF EXISTS (SELECT * FROM [sys].[identity_columns] WHERE [name] IN (N'Id', N'Name') AND [object_id] = OBJECT_ID(N'[Brand]'))
        SET IDENTITY_INSERT [Brand] ON;
    EXEC(N'INSERT INTO [Brand] ([Id], [Name])
    VALUES (1, N''Azure''),
    (2, N''.NET'')');
    IF EXISTS (SELECT * FROM [sys].[identity_columns] WHERE [name] IN (N'Id', N'Name') AND [object_id] = OBJECT_ID(N'[Brand]'))
        SET IDENTITY_INSERT [Brand] OFF;
END;

IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20260211090000_Baskets'
)
BEGIN
    EXEC(N'CREATE UNIQUE INDEX [IX_BasketItem_CatalogItemId] ON [basket].[BasketItem] ([CatalogItemId]) WHERE [CatalogItemId] IS NOT NULL');
END;

IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20260211090000_Baskets'
)
BEGIN
    INSERT INTO [__EFMigrationsHistory] ([MigrationId], [ProductVersion])
    VALUES (N'20260211090000_Baskets', N'9.0.1');
END;

COMMIT;
GO

